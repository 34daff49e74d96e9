FROM debian:12
RUN --mount=type=secret,id=t TOKEN=$(cat /run/secrets/t) make
