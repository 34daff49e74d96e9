FROM debian:12
RUN useradd -r app && passwd -l root && usermod -aG video app
