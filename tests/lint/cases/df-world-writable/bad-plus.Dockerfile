# lines: 3
FROM debian:12
RUN chmod +w /a
