UPDATE units SET state = ?2 WHERE unit = ?1
