COPY moments (experiment, plan_version, partition, variation, phase, stratum, day, vector) FROM STDIN (FORMAT binary)
