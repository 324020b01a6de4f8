DELETE FROM conversions WHERE unit = $1
