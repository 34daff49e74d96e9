# lines: 4
FROM debian:12
ENV U=root
USER ${U}
