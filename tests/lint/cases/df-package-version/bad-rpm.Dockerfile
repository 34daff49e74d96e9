# lines: 3 4
FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN dnf install -y httpd && dnf clean all
RUN zypper --non-interactive in nginx
