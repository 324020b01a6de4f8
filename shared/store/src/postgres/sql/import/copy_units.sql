COPY units (unit, tenant, user_id, state) FROM STDIN (FORMAT binary)
