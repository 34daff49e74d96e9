FROM debian:12
RUN <<E
apt-get update
apt-get install -y x
E
