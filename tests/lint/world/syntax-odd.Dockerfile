#syntax = docker.io/docker/dockerfile:1
#check=skip=all;error=true
# escape = \
FROM scratch
COPY --exclude=*.md --parents ./src/./a /app/
STOPSIGNAL SIGTERM
MAINTAINER x <x@y>
CROSS_BUILD foo
LABEL a=b "c d"=e f="multi \
line"
USER 65532
HEALTHCHECK CMD ["/x"]
