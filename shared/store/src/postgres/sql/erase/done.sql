DELETE FROM erasures WHERE unit = $1
