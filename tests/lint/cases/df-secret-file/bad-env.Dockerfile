# lines: 3
FROM debian:12
COPY .env app.py /app/
