FROM almalinux:9
RUN dnf upgrade -y openssl-libs && dnf clean all
RUN yum update -y ca-certificates && yum clean all
