# syntax=docker/dockerfile:1.7
FROM debian:12.5-slim@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN <<EOF
set -e
apt-get update
apt-get install -y --no-install-recommends curl=7.88.1-10
rm -rf /var/lib/apt/lists/*
curl -fsSL https://example.com/x.sh | sh
EOF
RUN <<-"PY" python3
	import os
	print("sudo rm -rf /")
	PY
COPY <<NGINX /etc/nginx/nginx.conf
user root;
NGINX
COPY --chmod=0755 --chown=1000:1000 <<'EOS' /entry.sh
#!/bin/sh
exec "$@"
EOS
RUN <<A <<B cat
sudo one
A
two
B
RUN --mount=type=secret,id=tok,target=/run/secrets/tok <<EOF
cat /run/secrets/tok
EOF
USER 1000
HEALTHCHECK CMD ["true"]
ENTRYPOINT ["/entry.sh"]
