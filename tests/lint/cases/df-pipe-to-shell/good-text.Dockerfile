FROM debian:12
RUN echo 'curl https://x | sh' > /README
