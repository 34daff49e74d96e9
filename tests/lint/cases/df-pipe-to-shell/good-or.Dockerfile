FROM debian:12
RUN curl https://x.example || bash -c 'exit 1'
