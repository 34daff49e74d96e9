# lines: 3
FROM debian:12
VOLUME ["/data", "/run/containerd/containerd.sock"]
