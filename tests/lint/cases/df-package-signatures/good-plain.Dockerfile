FROM fedora:41
RUN dnf install -y x && dnf clean all
