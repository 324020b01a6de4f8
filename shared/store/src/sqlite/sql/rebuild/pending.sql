SELECT partition, experiment FROM rebuilds WHERE NOT done AND partition = ?1 ORDER BY experiment
