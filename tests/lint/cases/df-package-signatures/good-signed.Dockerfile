FROM debian:12
RUN echo 'deb [signed-by=/k.gpg] https://x.example /' > /etc/apt/sources.list.d/x.list && apt-get update && apt-get install -y x
