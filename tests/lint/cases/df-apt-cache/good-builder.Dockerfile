FROM debian:12 AS b
RUN apt-get update && apt-get install -y x
FROM debian:12
COPY --from=b /x /x
