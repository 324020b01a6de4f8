SELECT experiment, version, cursor, done FROM rebuilds WHERE experiment = ?1 AND partition = ?2
