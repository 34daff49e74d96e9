# lines: 3
FROM fedora:41
RUN dnf install -y --nogpgcheck x
