FROM debian:12
RUN curl --token "$TOKEN" https://x
