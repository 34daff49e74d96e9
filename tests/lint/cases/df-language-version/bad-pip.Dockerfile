# lines: 3 4
FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN pip install --no-cache-dir flask gunicorn==23.0.0
RUN python3 -m pip install 'requests>=2'
