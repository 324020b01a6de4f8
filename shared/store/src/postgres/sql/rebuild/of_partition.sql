SELECT experiment, version, cursor, done FROM rebuilds WHERE experiment = ANY ($1) AND partition = $2
