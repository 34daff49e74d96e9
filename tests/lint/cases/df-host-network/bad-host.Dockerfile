# lines: 3
FROM debian:12
RUN --network=host curl http://localhost
