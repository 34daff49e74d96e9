FROM debian:12
RUN adduser --disabled-password --gecos '' app
