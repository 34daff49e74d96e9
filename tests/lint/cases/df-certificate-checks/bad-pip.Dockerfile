# lines: 3
FROM python:3
RUN pip install --trusted-host pypi.org x
