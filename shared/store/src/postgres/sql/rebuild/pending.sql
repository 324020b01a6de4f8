SELECT partition, experiment FROM rebuilds WHERE NOT done AND partition = ANY ($1) ORDER BY partition, experiment
