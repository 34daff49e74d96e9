FROM mcr.microsoft.com/windows/servercore:ltsc2022
RUN net user deploy /add
RUN net user guest /active:no
RUN net user deploy %PASSWORD% /add
