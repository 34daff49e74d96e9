FROM debian:12
RUN git clone https://git.example/x
