# lines: 3
FROM debian:12
RUN useradd app && echo 'app ALL=(ALL) NOPASSWD:ALL' >> /etc/sudoers
