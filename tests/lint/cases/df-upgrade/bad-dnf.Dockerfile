# lines: 3
FROM fedora:41
RUN dnf upgrade -y
