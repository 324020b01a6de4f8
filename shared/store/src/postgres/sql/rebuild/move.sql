UPDATE rebuilds SET cursor = $4, done = $5 WHERE experiment = $1 AND partition = $2 AND version = $3
