FROM fedora:41
RUN dnf -y install x && dnf clean all
