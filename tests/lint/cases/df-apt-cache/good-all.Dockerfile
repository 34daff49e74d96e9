FROM debian:12
RUN apt update && apt install -y x && rm -r /var/lib/apt/lists /var/cache/*
