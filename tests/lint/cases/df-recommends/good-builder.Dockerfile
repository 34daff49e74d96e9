FROM debian:12 AS b
RUN apt-get install -y x
FROM debian:12
RUN y
