# lines: 3
FROM debian:12
RUN echo 'deb [trusted=yes] https://x.example /' > /etc/apt/sources.list.d/x.list
