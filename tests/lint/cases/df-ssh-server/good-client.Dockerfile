FROM debian:12
RUN apt-get install -y openssh-client
EXPOSE 2222 220/tcp
