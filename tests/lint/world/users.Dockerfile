FROM debian:12 AS a
RUN groupadd -r app && useradd -r -g app app
USER app
FROM a AS b
USER root
RUN true
FROM a
COPY --from=b /x /x
HEALTHCHECK CMD x
