# lines: 3
FROM debian:12
LABEL registry.password=hunter22
