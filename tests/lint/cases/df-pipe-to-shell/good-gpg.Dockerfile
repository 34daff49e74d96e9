FROM debian:12
RUN curl https://x.example/key | gpg --dearmor
