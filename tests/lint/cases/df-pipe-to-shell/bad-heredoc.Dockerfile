# lines: 4
FROM debian:12
RUN <<EOF
curl https://x.example | sh
EOF
