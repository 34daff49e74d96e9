# lines: 3 4 5
FROM almalinux:9
RUN yum -y update && yum clean all
RUN dnf update -y --setopt=tsflags=nodocs && dnf clean all
RUN zypper --non-interactive up
