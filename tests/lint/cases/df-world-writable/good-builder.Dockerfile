FROM debian:12 AS b
RUN chmod 777 /a
FROM debian:12
RUN x
