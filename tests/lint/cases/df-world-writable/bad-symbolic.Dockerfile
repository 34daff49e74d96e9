# lines: 3
FROM debian:12
RUN mkdir /a && chmod a+rwx /a
