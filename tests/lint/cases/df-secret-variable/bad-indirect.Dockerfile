# lines: 4
FROM debian:12
ARG A=hunter22
ENV PASSWORD=$A
