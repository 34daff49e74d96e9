# lines: 4
FROM debian:12
ARG U=0
USER ${U:-1}
