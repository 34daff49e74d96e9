FROM python:3
RUN pip install --upgrade pip
