FROM debian:12
ENV DB_PASSWORD_FILE=/run/secrets/db TOKEN_URL=https://x/token SECRET_NAME=db
