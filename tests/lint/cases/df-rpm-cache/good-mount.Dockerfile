FROM fedora:41
RUN --mount=type=cache,target=/var/cache dnf install -y x
