FROM debian:12
RUN echo "no sudo here; sudo x" > /a
